"""The command line: the one place where all four packages meet.

Each module holds one command or group, or what several of them share. They import what they compose inside
the command functions, so that ``strop --help`` answers without loading torch, vLLM or transformers.
"""
