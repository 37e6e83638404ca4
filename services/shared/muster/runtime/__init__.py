"""What every service process is made of: configuration, its gRPC and HTTP servers, health, logs."""
