"""What to know about the processes of a run before it takes a day: who they are, and what the links carry."""
