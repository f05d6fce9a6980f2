"""`python -m ups_app` is `ups`."""

from ups_app.cli.main import main

main()
