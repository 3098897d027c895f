"""What a server counts about its own work, and how the counts of its processes become one."""
