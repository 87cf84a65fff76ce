"""Who acts: engines, prompts as token ids, the policy, the server, the benchmark runner, the command line."""
