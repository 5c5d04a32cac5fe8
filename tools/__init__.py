"""Programs for people who develop deployer; none of them is part of the wheel."""
