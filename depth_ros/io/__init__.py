"""Files and message layouts: where pictures come from and where depth goes. Needs no ROS installation."""
