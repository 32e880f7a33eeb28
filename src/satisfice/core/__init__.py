"""The contracts that everything else stands on; numpy only, and nothing of ours."""
