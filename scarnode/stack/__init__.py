"""From files of a study to short-axis LGE stacks, and a reason for every series that is none."""
