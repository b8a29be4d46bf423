"""Shows how a network is compiled, and the reasons for it, level by level (`ellc explain`)."""
