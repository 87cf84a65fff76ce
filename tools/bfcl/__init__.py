"""The Berkeley Function Calling Leaderboard: its tasks, single-turn and multi-turn, and their checkers."""
