"""Who a caller is where there is TLS: by certificate, or by token."""
