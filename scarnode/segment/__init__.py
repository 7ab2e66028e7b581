"""From a stack to its labels: the network, the heart finder, the sliding windows."""
