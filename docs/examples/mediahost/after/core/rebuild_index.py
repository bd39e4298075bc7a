"""Write the word index of all transcripts anew: `PYTHONPATH=. python core/rebuild_index.py`."""

import json
import os
import re
from collections import defaultdict

from core.config import config
from core.database import init_db, transaction

import models


def rebuild():
    """The words of all transcripts and the meetings they were said in, as index.json in the data directory."""
    init_db()
    index = defaultdict(list)
    with transaction():
        for meeting in models.Meeting.all():
            for word in set(re.findall(r"\w+", (meeting.transcript.text if meeting.transcript else "").lower())):
                index[word].append(meeting.id)
    path = os.path.join(config.data_dir, "index.json")
    with open(path, "w", encoding="utf-8") as file:
        json.dump(index, file, sort_keys=True)
    return path


if __name__ == "__main__":
    print(rebuild())
