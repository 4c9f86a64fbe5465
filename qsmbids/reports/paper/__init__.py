"""What the paper asks to check and to report: findings, tables, methods text."""
