"""python -m scarnode.cli"""

from scarnode.cli import main

main()
