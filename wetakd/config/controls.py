"""Controls: baseline students without a teacher, with one teacher, or with all of them (DGKD)."""

from __future__ import annotations

from typing import Final, Literal, get_args

Control = Literal["none", "teacher", "single", "dgkd"]
"""Name of a control, as study files and the column `strategy` contain it."""
CONTROLS: Final[tuple[Control, ...]] = get_args(Control)

NO_DISTILLATION: Final[Control] = "none"
TEACHER_ALONE: Final[Control] = "teacher"
SINGLE: Final[Control] = "single"
"""One assistant of the pool teaches, whatever the strategy (TAKD)."""
DGKD: Final[Control] = "dgkd"
"""Teacher and all assistants teach, evenly mixed."""
FIXED_TEACHERS: Final = (NO_DISTILLATION, TEACHER_ALONE, DGKD)
"""Controls whose teachers are the same in every study, so that a label need not name them."""
