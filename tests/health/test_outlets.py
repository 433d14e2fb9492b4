"""Out of the process: what is delivered, what is tried again, what is lost, and what never waits."""

import json
import os
import signal
import socket
import subprocess

import pytest

from tests.health.servers import Webhook, tarpit, wait_until
from vlad.health.command import Command
from vlad.health.outlets import DeliveryError, Outlet
from vlad.health.webhook import webhook


def refused(deliver, message="{}"):
    with pytest.raises(DeliveryError) as caught:
        deliver(message)
    return str(caught.value), caught.value.again


@pytest.fixture
def outlet():
    """An outlet that keeps what it delivered; `answers` are the errors of the next tries."""
    made = []

    def make():
        def deliver(message):
            if outlet.answers:
                raise outlet.answers.pop(0)
            outlet.told.append(message)

        outlet = Outlet("test", deliver, first_pause_s=0.001)
        outlet.answers, outlet.told = [], []
        made.append(outlet)
        return outlet

    yield make
    for each in made:
        each.close()


def test_messages_are_delivered_in_their_order(outlet):
    one = outlet()
    for number in range(50):
        one.put(str(number))
    wait_until(lambda: one.delivered == 50)
    assert one.told == [str(number) for number in range(50)]
    assert (one.problem, one.lost) == ("", 0)


def test_what_may_get_through_is_tried_until_it_does(outlet):
    one = outlet()
    one.answers = [DeliveryError("not there", again=True)] * 3
    one.put("a")
    one.put("b")
    wait_until(lambda: one.delivered == 2)
    assert one.told == ["a", "b"]
    assert one.problem == ""


def test_what_is_refused_for_good_is_lost_and_told(outlet):
    one = outlet()
    one.answers = [DeliveryError("answers with status 404", again=False)]
    one.put("a")
    wait_until(lambda: one.lost == 1)
    assert (one.told, one.problem) == ([], "answers with status 404")
    one.put("b")
    wait_until(lambda: one.delivered == 1)
    assert one.problem == ""


def test_an_outlet_that_hangs_never_holds_up_who_puts_and_loses_the_oldest():
    with tarpit() as url:
        one = Outlet("test", webhook(url, timeout_s=60.0))
        for number in range(1_000):
            one.put(str(number))
        assert one.lost >= 1_000 - 65
        assert one.delivered == 0
        one.close()


def test_a_message_that_waited_while_the_queue_ran_over_is_given_up(outlet):
    one = outlet()
    one.answers = [DeliveryError("not there", again=True)] * 10_000
    one.put("0")
    wait_until(lambda: one.problem)
    for number in range(1, 200):
        one.put(str(number))
    wait_until(lambda: one.lost == 200 - 64)
    one.answers.clear()
    wait_until(lambda: one.delivered == 64)
    assert one.told == [str(number) for number in range(136, 200)]


# webhook --------------------------------------------------------------------------------------------------


def test_a_webhook_gets_json_at_its_own_path():
    with Webhook() as server:
        webhook(f"{server.url}/hooks/robot?key=1", 5.0)('{"component":"disk","text":"voll: 99 \u00b0"}')
    assert server.got == [{"component": "disk", "text": "voll: 99 \u00b0"}]
    assert server.paths == ["/hooks/robot?key=1"]
    assert server.headers[0]["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("status", "again"), [(500, True), (503, True), (429, True), (404, False), (401, False), (301, False)]
)
def test_an_answer_that_is_no_success_is_told_and_a_redirection_not_followed(status, again):
    with Webhook() as server:
        server.statuses = [status]
        text, tried_again = refused(webhook(f"{server.url}/secret", 5.0))
    assert (text, tried_again) == (f"127.0.0.1 answers with status {status}", again)
    assert server.paths == ["/secret"]


def test_nobody_at_the_address_is_told_without_the_secret_in_it():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    text, again = refused(webhook(f"http://127.0.0.1:{port}/secret", 5.0))
    assert "Connection refused" in text
    assert "secret" not in text
    assert again


@pytest.mark.parametrize("drip", [b"", b"H", b"HTTP/1.1 100 Continue\r\n\r\n", b"not http\r\n"])
def test_a_server_that_hangs_babbles_or_drips_is_left_after_the_time_out(drip):
    with tarpit(drip) as url:
        assert refused(webhook(url, timeout_s=0.3))[1]


def test_a_server_that_does_not_even_finish_the_handshake_is_left_after_the_time_out():
    with tarpit(b"\x16") as url:
        assert refused(webhook(url.replace("http:", "https:"), timeout_s=0.3))[1]


def test_a_certificate_that_this_computer_does_not_trust_is_refused(tmp_path, monkeypatch):
    certificate = tmp_path / "server.pem"
    made = (
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    )
    words = ["openssl", *made.split(), "-keyout", certificate, "-out", tmp_path / "ca.pem"]
    subprocess.run(words, check=True, capture_output=True, timeout=60)
    certificate.write_text(certificate.read_text() + (tmp_path / "ca.pem").read_text())
    with Webhook(certificate) as server:
        text, again = refused(webhook(f"https://localhost:{server.port}/", 5.0))
        assert "certificate" in text.lower()
        assert again
        assert server.got == []
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        webhook(f"https://localhost:{server.port}/", 5.0)("{}")
        assert server.got == [{}]


# command --------------------------------------------------------------------------------------------------


def script(folder, text):
    path = folder / "told"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_a_command_gets_json_on_its_standard_input_and_no_shell_sees_its_arguments(tmp_path):
    program = script(tmp_path, f'cat > {tmp_path}/got; echo "$1" > {tmp_path}/words')
    Command((program, "$(id) ; *"), 5.0).deliver('{"level":"DANGER"}')
    assert json.loads((tmp_path / "got").read_text()) == {"level": "DANGER"}
    assert (tmp_path / "words").read_text() == "$(id) ; *\n"


def test_a_command_need_not_read_what_it_is_told(tmp_path):
    Command((script(tmp_path, "exit 0"),), 5.0).deliver("x" * 1_000_000)


def test_a_command_that_fails_is_told_and_not_run_again(tmp_path):
    program = script(tmp_path, "exit 3")
    assert refused(Command((program,), 5.0).deliver) == (f"{program}: ended with status 3", False)


def test_a_command_that_is_not_there_is_told(tmp_path):
    text, again = refused(Command((str(tmp_path / "none"),), 5.0).deliver)
    assert text == f"{tmp_path}/none: No such file or directory"
    assert not again


def test_a_command_that_does_not_end_is_killed_with_all_that_it_started(tmp_path):
    program = script(tmp_path, f"sleep 1000 & echo $! $$ > {tmp_path}/pids; wait")
    text, _ = refused(Command((program,), 1.0).deliver)
    assert "did not end within 1 s, and was killed" in text
    for pid in (tmp_path / "pids").read_text().split():
        wait_until(lambda pid=pid: gone(int(pid)))


def gone(pid):
    """A zombie that nobody waits for is as good as gone."""
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] == "Z"
    except (ProcessLookupError, FileNotFoundError):
        return True


def test_a_command_that_was_killed_by_a_signal_is_told(tmp_path):
    program = script(tmp_path, "kill -9 $$")
    assert refused(Command((program,), 5.0).deliver)[0] == f"{program}: ended with status {-signal.SIGKILL}"


def test_a_command_that_runs_when_the_outlet_is_closed_is_killed(tmp_path):
    program = Command((script(tmp_path, f"echo $$ > {tmp_path}/pids; exec sleep 1000"),), 60.0)
    one = Outlet("command", program.deliver, program.cancel)
    one.put("{}")
    pid = int(wait_until(lambda: (tmp_path / "pids").exists() and (tmp_path / "pids").read_text()))
    one.close()
    wait_until(lambda: gone(pid))
