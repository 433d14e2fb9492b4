import pytest


@pytest.fixture
def serve(protocol):
    """Starts servers of the protocol, whose answers the test makes."""
    servers = []

    def start(answer, *options, **named):
        servers.append(protocol.serve(answer, *options, **named))
        return servers[-1]

    yield start
    for server in servers:
        server.close()
