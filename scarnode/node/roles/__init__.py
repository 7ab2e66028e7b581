"""What a process of the node does: receives, works, delivers, or all of it."""

from scarnode.node.roles.deliver import Coordinator
from scarnode.node.roles.receive import Receiver
from scarnode.node.roles.work import Workers
from scarnode.node.runtime import ROLES, Role, Runtime

__all__ = ["ROLES", "Coordinator", "Receiver", "Role", "Runtime", "Workers"]
