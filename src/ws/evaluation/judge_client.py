"""Asks one OpenAI-compatible endpoint, through the `openai` package: pip install -e '.[judge]'.

    client = Client(Endpoint("http://localhost:8000/v1", "some-model"), tell=print)
    reply = client.ask("1 or 2?")        # Reply(answer, finish, sent)

The package asks again after HTTP 429, 5xx, a timeout or a lost connection, with back-off or as long as the endpoint
says, at most `retries` times; each wait is told. A model that refuses `max_tokens` or `temperature` is asked with
`max_completion_tokens` or without one from then on. The key is in no message and in no answer.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ws.errors import UserError

__all__ = ["INSTALL", "Client", "Endpoint", "Refused", "Reply"]

INSTALL = "pip install -e '.[judge]'"
USUAL_KEY = "OPENAI_API_KEY"
ODD = (400, 413, 422)
"""Statuses that may be about one question alone: too long, or against the endpoint's rules."""

Tell = Callable[[str], object]


@dataclass(frozen=True)
class Endpoint:
    """Where the judge answers and how it is asked."""

    url: str
    """base address, for example http://localhost:8000/v1"""
    model: str
    key: str = USUAL_KEY
    """name of the environment variable that holds the API key; where the usual one is not set none is sent"""
    timeout: float = 60.0
    """seconds per answer"""
    max_tokens: int = 1024
    """room for the answer, thinking included"""
    reasoning: bool | None = None
    """True asks as reasoning models want it (max_completion_tokens, no temperature), False never does; None finds out
    by what the endpoint refuses"""
    retries: int = 6
    """how often a question is asked again after 429, 5xx, a timeout or a lost connection"""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"https?://[^/@?#\s][^@?#\s]*", self.url):
            # what may be a password is not repeated
            seen = "one with '@', '?', '#' or a space" if re.search(r"[@?#\s]", self.url) else repr(self.url)
            raise UserError(
                f"the judge's url must be a base address that begins with http:// or https:// (got {seen}), for example"
                " http://localhost:8000/v1. A key belongs into an environment variable."
            )
        if not self.timeout > 0 or self.max_tokens < 1 or self.retries < 0:
            raise UserError(
                f"timeout ({self.timeout}) must be above 0, max_tokens ({self.max_tokens}) at least 1 and retries"
                f" ({self.retries}) at least 0."
            )

    def secret(self) -> str:
        """The API key; "" where none is to be sent. UserError for a variable that is not set or holds no key.

        What was given as the variable's name is not repeated: it may be the key itself.
        """
        found = os.environ.get(self.key, "").strip() if re.fullmatch(r"\w+", self.key) else ""
        if not found and self.key != USUAL_KEY:
            raise UserError(
                "the judge's key must be the name of an environment variable that holds the API key, and there is no"
                f" such variable. Set it, or leave key out: then ${USUAL_KEY} is taken where it is set."
            )
        if not re.fullmatch(r"[!-~]*", found):
            raise UserError(f"the key in ${self.key} holds a character that no key has. Set it again.")
        return found


@dataclass(frozen=True)
class Reply:
    """One answer. finish: why it ended, as the endpoint says ("length": cut off); sent: the parameters it was asked
    with."""

    answer: str
    finish: str = ""
    sent: dict[str, float] = field(default_factory=dict)


class Refused(Exception):
    """The endpoint did not answer this question as a chat: it may answer another. The text says what it said."""


class Client:
    """One endpoint. tell: gets a line for each wait and for each parameter that the endpoint refuses."""

    def __init__(self, endpoint: Endpoint, tell: Tell) -> None:
        if importlib.util.find_spec("openai") is None:
            raise UserError(f"a judge is asked through the package openai, which is not installed: {INSTALL}")
        import openai

        self.endpoint, self._tell, self._openai = endpoint, tell, openai
        self._secret = endpoint.secret()
        room = "max_completion_tokens" if endpoint.reasoning else "max_tokens"
        self._sent: dict[str, float] = {room: endpoint.max_tokens, **({} if endpoint.reasoning else {"temperature": 0})}
        # said outright: the package would take a key of its own from the environment
        self._headers: Any = {"Authorization": f"Bearer {self._secret}" if self._secret else openai.Omit()}
        self._client = openai.OpenAI(
            base_url=endpoint.url,
            api_key=self._secret or "none",
            timeout=endpoint.timeout,
            max_retries=endpoint.retries,
        )

    def ask(self, content: str) -> Reply:
        """One answer. Refused: this question is, or what came is no chat. UserError: nothing can be asked at all."""
        with _waits_told(lambda said: self._tell(f"the judge at {self.endpoint.url}: {said}")):
            while True:
                try:
                    return self._read(self._post(content))
                except self._openai.APIStatusError as error:
                    if not self._adapted(error):
                        raise self._refusal(error) from None
                except self._openai.APITimeoutError:
                    raise UserError(
                        f"the judge at {self.endpoint.url} gave no answer in {self.endpoint.timeout:g} s, asked"
                        f" {self._times}. Raise the timeout, or use a faster judge."
                    ) from None
                except self._openai.APIConnectionError as error:
                    why = self._clean(str(error.__cause__ or error))
                    raise UserError(
                        f"the judge at {self.endpoint.url} cannot be reached ({why}). Check the url."
                    ) from None

    def _post(self, content: str) -> str:
        """The body of what the endpoint sends."""
        messages: Any = [{"role": "user", "content": content}]
        given: Any = dict(self._sent)
        raw = self._client.chat.completions.with_raw_response.create(
            model=self.endpoint.model, messages=messages, extra_headers=self._headers, **given
        )
        return str(raw.text)

    def _read(self, body: str) -> Reply:
        try:
            choice = json.loads(body)["choices"][0]
            content = choice["message"]["content"]
        except (ValueError, LookupError, TypeError):
            raise Refused(
                f"it sent {self._clean(body)!r}, which is no chat completion. Check that the url is the base of an"
                " OpenAI-compatible API, often /v1."
            ) from None
        answer = content if isinstance(content, str) else "" if content is None else json.dumps(content)
        return Reply(self._clean(answer, None), str(choice.get("finish_reason") or ""), dict(self._sent))

    def _adapted(self, error: Any) -> bool:
        """Whether a parameter was refused that can be sent otherwise; each is changed once. reasoning=False: none is.
        """
        if error.status_code not in ODD or self.endpoint.reasoning is not None:
            return False
        said = str(error.response.text)
        if "max_tokens" in self._sent and re.search(r"max_(completion_)?tokens", said):
            self._sent["max_completion_tokens"] = self._sent.pop("max_tokens")
            change = "max_tokens: it is asked with max_completion_tokens"
        elif "temperature" in self._sent and "temperature" in said:
            del self._sent["temperature"]
            change = "temperature 0: it is asked without one"
        else:
            return False
        self._tell(f"{self.endpoint.model} at {self.endpoint.url} refuses {change} from here on.")
        return True

    def _refusal(self, error: Any) -> Exception:
        said = f"HTTP {error.status_code}: {self._clean(str(error.response.text))!r}"
        if error.status_code in ODD:
            return Refused(f"it refused with {said}")
        if error.status_code == 429 or error.status_code >= 500:
            return UserError(
                f"the judge at {self.endpoint.url} refused with {said}, asked {self._times}. Try again later."
            )
        return UserError(
            f"the judge at {self.endpoint.url} refused with {said}. Check the url, the model's name"
            f" ({self.endpoint.model}) and the key in ${self.endpoint.key}."
        )

    @property
    def _times(self) -> str:
        return f"{self.endpoint.retries + 1} times" if self.endpoint.retries else "once"

    def _clean(self, text: str, most: int | None = 200) -> str:
        """A text of the endpoint's without the key, which some repeat."""
        return (text.replace(self._secret, "***") if self._secret else text)[:most]


@contextmanager
def _waits_told(tell: Tell) -> Iterator[None]:
    """Hands on what the package logs before it asks again: how long it waits, and how often it has asked."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno == logging.INFO and (said := record.getMessage()).startswith("Retrying"):
                tell(said)

    log, handler = logging.getLogger("openai._base_client"), Handler()
    before = log.level
    log.addHandler(handler)
    log.setLevel(min(log.getEffectiveLevel(), logging.INFO))
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before)
