# Nothing in here.
