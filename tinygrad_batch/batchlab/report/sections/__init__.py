"""The sections of the report: each is a function of the numbers, and returns what it has to say about them."""
