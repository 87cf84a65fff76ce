"""What a tool is: specifications, calls, tasks, formats, judging. Pure: no model, no network."""
