"""The passes: each is a small pure function from a program to a program that means the same."""
