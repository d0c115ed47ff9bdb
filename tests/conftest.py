"""What holds for all tests."""

from hypothesis import settings

# a busy machine is slow, not wrong: nothing here is timed
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
