"""What the audit is to find in the zoo: the table that the integration test compares with."""

BLAMED = {"fails_circle_name": "ok_circle_taken", "fails_circle_second": "ok_circle_first"}
"""The module with the blamed line, where it is another one."""

UNBLAMED = {"fails_wiping": "fails"}
"""Those without any line of their own: the import system itself raises once the module is done."""

VERDICTS = {
    "cannot_exit_thread": ("cannot-exit", 5),
    "crashes_abort": ("crashes", 5),
    "crashes_kill": ("crashes", 6),
    "crashes_segv": ("crashes", 5),
    "exits_daemonised": ("exits", 6),
    "exits_exec": ("exits", 5),
    "exits_input": ("exits", 3),
    "exits_os": ("exits", 5),
    "exits_sys": ("exits", 10),
    "fails_missing": ("fails", 3),
    "fails_raising": ("fails", 15),
    "fails_recursion": ("fails", 8),
    "fails_name": ("fails", 3),
    "fails_attribute": ("fails", 5),
    "fails_module": ("fails", 3),
    "fails_yaml": ("fails", 8),
    "fails_circle_name": ("fails", 4),
    "fails_circle_second": ("fails", 5),
    "hangs_blind": ("hangs", 7),
    "hangs_deep": ("hangs", None),
    "hangs_flooding": ("hangs", 0),
    "hangs_fork_bomb_of_two": ("hangs", 8),
    "hangs_gil": ("hangs", 5),
    "hangs_python": ("hangs", 10),
    "hangs_recv": ("hangs", 7),
    "hangs_signals": ("hangs", 8),
    "hangs_spin": ("hangs", 3),
    "hangs_connect": ("hangs", 12),
    "hangs_fifo": ("hangs", 9),
    "hangs_flock": ("hangs", 7),
    "hangs_getaddrinfo": ("hangs", 18),
    "hangs_import_lock": ("hangs", 12),
    "hangs_join": ("hangs", 7),
    "hangs_lock": ("hangs", 7),
    "hangs_poll": ("hangs", 9),
    "hangs_select": ("hangs", 7),
    "hangs_subprocess": ("hangs", 5),
    "hangs_tampering": ("hangs", None),
    "leaves_child": ("leaves-children", 5),
    "leaves_stranger": ("leaves-children", 5),
    "slow_body": ("slow", 10),
    "slow_import": ("slow", 3),
}
"""Verdict and blamed line; 0 for any line, None where no line can be known."""

INNER = {"exits_sys": 7, "fails_raising": 12, "fails_recursion": 5, "hangs_python": 7, "slow_body": 7}
"""The innermost line of the module, where it is in a function that the blamed line has called."""

LEAVES = {
    "hangs_python": "threading.py",
    "hangs_recv": None,
    "hangs_connect": "socket.py",
    "hangs_getaddrinfo": "socket.py",
    "hangs_lock": None,
    "hangs_import_lock": "threading.py",
    "hangs_join": "threading.py",
    "hangs_select": None,
    "hangs_poll": "selectors.py",
    "hangs_subprocess": "subprocess.py",
    "hangs_flock": None,
    "hangs_fifo": None,
    "hangs_gil": None,
}
"""The file of the innermost Python line of each wait, where that is another one than the blamed."""

FINDINGS = {
    "hangs_recv": {("connect", 6, "127.0.0.1:")},
    "cannot_exit_thread": {("thread", 5, "worker")},
    "leaves_child": {("subprocess", 5, "sleep")},
    "ok_changing": {
        ("process-state", 15, "sets ZOO_URL in os.environ: what was imported before it has read another value"),
        ("process-state", 16, "handles SIGUSR1: it takes the place of the handler"),
        ("process-state", 17, "configures logging (root): the configuration of the program"),
        ("process-state", 18, "filters warnings: those of all other code"),
        ("process-state", 19, "changes sys.path: what others import"),
        ("process-state", 20, "changes the working directory: relative paths"),
        ("process-state", 21, "limits all sockets: connections of other libraries"),
        ("process-state", 22, "sets multiprocessing's start method: that can be done once"),
        ("process-state", 23, "sets the locale: numbers and texts"),
        ("process-state", 24, "replaces sys.excepthook: errors of the whole process"),
        ("process-state", 25, "replaces sys.stdout: what the whole program prints"),
        ("process-state", 34, "replaces threading.excepthook: errors of all threads"),
    },
    "ok_doubled": {
        ("double-import", 9, "executed as zoo.plain and as plain"),
        ("process-state", 8, "changes sys.path"),
    },
    "ok_sleeping": {("sleep", 9, "sleeps 0.01 s")},
    "ok_writing": {
        ("file-write", 8, "makes the directory "),
        ("file-write", 10, "for writing"),
        ("file-write", 12, "renames "),
        ("file-write", 13, "removes "),
    },
    "ok_borrowing": {("order-dependent", 7, "uses xml.sax, which neither it nor xml imports")},
    "ok_lending": set(),
    "ok_circle_first": {("circular-import", 3, "> zoo.ok_circle_first, which is not done")},
    "ok_circle_third": {("circular-import", 3, "> zoo.ok_circle_third, which is not done")},
    "fails_circle_second": {
        (
            "circular-import",
            3,
            "zoo.fails_circle_second (zoo/fails_circle_second.py:3) > zoo.ok_circle_third (zoo/ok_circle_third.py:3) > "
            "zoo.ok_circle_first (zoo/ok_circle_first.py:3) > zoo.fails_circle_second, whose OTHER is not yet bound",
        ),
        ("order-dependent", 5, "fails when it is imported first, and passes when zoo.ok_circle_first is"),
    },
    "fails_circle_name": {
        ("circular-import", 3, "> zoo.fails_circle_name, which is not done"),
        ("circular-import", 4, "> zoo.fails_circle_name, whose VALUE is not yet bound"),
        ("order-dependent", 4, "fails when it is imported first, and passes when zoo.ok_circle_taken is"),
    },
    "ok_circle_taken": {("circular-import", 3, "which is not done")},
    "ok_circle_of_two": {("circular-import", 3, "which is not done")},
    "ok_circle_other": {("circular-import", 3, "which is not done")},
}
"""Kind, line and words of the detail of each finding."""

HINTS = {
    "fails_missing": "no_such_package_anywhere is not installed, and no distribution is known here to have it",
    "fails_yaml": "pip install PyYAML",
    "fails_name": "zoo.ok_lending (zoo/ok_lending.py) has no xmll: did you mean xml?",
    "fails_attribute": "zoo.plain (zoo/plain.py) has no nothing",
    "fails_module": "zoo (zoo/__init__.py) has no module plane: did you mean plain?",
    "fails_circle_name": "zoo.fails_circle_name is not done: this is a circular import, not a name that is missing",
    "fails_raising": None,
}
"""How each failure is to be mended."""
