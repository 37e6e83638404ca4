from hypothesis import settings

# No time limit on an example: machines are noisy. A failure prints what replays it.
settings.register_profile("muster", deadline=None, print_blob=True)
settings.load_profile("muster")
