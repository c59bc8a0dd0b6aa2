"""python -m massmatch"""

from massmatch.cli import main

main()
