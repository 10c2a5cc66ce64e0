"""Tools for agents: answers of the service and of its nights over the Model Context Protocol, typed and short."""
