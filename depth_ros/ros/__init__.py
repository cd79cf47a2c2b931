"""The only folder that imports rclpy: the node translates between messages and the stream, nothing more."""
