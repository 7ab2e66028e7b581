"""What a process of the node does: receives, works, delivers, or all of it."""

from scarnode.roles.common import ROLES, Common, Role
from scarnode.roles.deliver import Delivering
from scarnode.roles.receive import Receiving
from scarnode.roles.work import Working

__all__ = ["ROLES", "Common", "Delivering", "Receiving", "Role", "Working"]
