"""Between Python and the wire: what services and SDK both need, on grpcio and protobuf alone."""
