"""What a user is told."""

from collections.abc import Callable

from autoencoder.base.errors import UserError


def refusal(read: Callable[[], object]) -> str:
    """The message of the UserError that `read` raises, one line; an empty string if it raises none.

    For what may be read or refused, and for messages that are compared as a whole; otherwise
    ``pytest.raises(UserError, match=...)`` says more.
    """
    message = ""
    try:
        read()
    except UserError as error:
        message = str(error)
    assert message.isprintable(), f"expected one line: {message}"
    return message
