"""Which hosts are this machine's own."""

from ipaddress import ip_address


def is_loopback_only(host: str) -> bool:
    """Whether only this machine can reach what listens there."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
