"""Black-box tests of what users rely on: see "What users rely on" in CONTRIBUTING.md.

They use the command line, `trials.parquet`, `summary.json`, MLflow's REST interface and exit codes, and import neither
wetakd nor other test modules. `storage_layout.py` is the only file that knows where things are stored.
"""
