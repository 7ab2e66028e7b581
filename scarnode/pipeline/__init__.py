"""From the files of a study to SEG, SR and picture: pure functions, no ledger, no network."""
