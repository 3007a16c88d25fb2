"""What identifies a run: its key in the journal, and its tags at MLflow."""

# A study's name is for people: others may have one of the same name at the same server.
UID_TAG, STUDY_TAG, STUDY_ID_TAG = "wetakd.uid", "wetakd.study", "wetakd.study_id"
# Another question under the same name (`--revise`) has runs of its own.
QUESTION_TAG = "wetakd.question"
# Where a later driver logs other params than the first.
CHANGED_TAG = "wetakd.changed_params"


def run_key(uid: str, question: str) -> str:
    """The key of a run in the journal: a revised study has other runs under the same uids."""
    return f"{uid}@{question}"


def split_run_key(key: str) -> tuple[str, str]:
    """The uid and the question of a run's key."""
    name, _, question = key.rpartition("@")
    return name, question
