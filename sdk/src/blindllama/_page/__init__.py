"""Pages for people: the ten checks, and a whole release."""
