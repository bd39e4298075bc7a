"""Takes the watch off: tracing, hooks, faulthandler; then it hangs."""

import faulthandler
import sys
import threading

sys.settrace(lambda *_: None)
sys.excepthook = sys.unraisablehook = None
faulthandler.cancel_dump_traceback_later()
faulthandler.disable()
threading.Event().wait()
