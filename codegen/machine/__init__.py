"""What the compiler knows of machines: cores, what runs on them, and the targets made of both."""
