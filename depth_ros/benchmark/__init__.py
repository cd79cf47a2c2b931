"""What `depth_ros bench` measures: stages of a frame, growth, one way against another; and the machine it ran on."""
