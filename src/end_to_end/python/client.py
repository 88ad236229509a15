#!/usr/bin/env python3
"""An acquirer in another language, with another library (pyiso8583), in front of the real binary.

What both ends of a test share they can both have wrong. Nothing here is shared with the switch: the
specification below is written from the public list of ISO 8583:1987 data elements.

    python3 client.py target/release/tapswitch
"""

import pathlib
import signal
import socket
import subprocess
import sys
import tempfile

import iso8583

# No wait is longer: a hang becomes a failure.
PATIENCE_S = 30
# The switch ends by itself should this program not live to stop it.
SWITCH_S = 120

CONFIGURATION = """
[switch]
shards = 1
pending_max = 16_384
duplicates_bytes = 8_388_608
originals_bytes = 4_194_304
peak_per_second = 500
[velocity]
lines = 65_536
[acquirer.python]
listen = "127.0.0.1:0"
dialect = "iso87-ascii"
sign_on_required = true
[bank]
accounts_max = 16_384
balance_minor = [20_000, 20_000]
credit_line_minor = [20_000, 20_000]
delay_median_us = 0
delay_p99_us = 0
silence_ppm = 0
late_ppm = 0
insufficient_funds_ppm = 0
expired_ppm = 0
wrong_pin_ppm = 0
do_not_honor_ppm = 0
unknown_card_ppm = 0
"""


def _field(digits_of_length, max_len, desc):
    return {
        "data_enc": "ascii",
        "len_enc": "ascii",
        "len_type": digits_of_length,
        "max_len": max_len,
        "desc": desc,
    }


# Number: digits of the length (0: fixed), characters at most, name.
SPEC = {
    "h": _field(0, 0, "header: none"),
    "t": _field(0, 4, "message type"),
    "p": _field(0, 16, "primary bitmap, hexadecimal"),
    "1": _field(0, 16, "secondary bitmap, hexadecimal"),
    "2": _field(2, 19, "primary account number"),
    "3": _field(0, 6, "processing code"),
    "4": _field(0, 12, "amount, transaction"),
    "7": _field(0, 10, "transmission date and time"),
    "11": _field(0, 6, "system trace audit number"),
    "12": _field(0, 6, "time, local transaction"),
    "13": _field(0, 4, "date, local transaction"),
    "15": _field(0, 4, "date, settlement"),
    "18": _field(0, 4, "merchant type"),
    "22": _field(0, 3, "point of service entry mode"),
    "25": _field(0, 2, "point of service condition code"),
    "32": _field(2, 11, "acquiring institution"),
    "33": _field(2, 11, "forwarding institution"),
    "37": _field(0, 12, "retrieval reference number"),
    "38": _field(0, 6, "authorization identification response"),
    "39": _field(0, 2, "response code"),
    "41": _field(0, 8, "terminal"),
    "42": _field(0, 15, "card acceptor"),
    "44": _field(2, 25, "additional response data"),
    "49": _field(0, 3, "currency code, transaction"),
    "54": _field(3, 120, "additional amounts"),
    "70": _field(0, 3, "network management information code"),
    "90": _field(0, 42, "original data elements"),
    "95": _field(0, 42, "replacement amounts"),
}

# What names a transaction comes back as it went.
ECHOED = ["3", "4", "7", "11", "12", "13", "32", "37", "41", "42", "49"]


class Failed(Exception):
    """Something is not as it must be."""


def expect(what, got, wanted):
    """One fact; each is said, so that a run shows what it has looked at."""
    if got != wanted:
        raise Failed(f"{what}: {got!r} instead of {wanted!r}")


class Connection:
    """Frames with a length of two bytes, high one first."""

    def __init__(self, address):
        self._socket = socket.create_connection(address, timeout=PATIENCE_S)

    def send(self, *frames):
        self._socket.sendall(b"".join(frames))

    def send_split(self, frame):
        """In two parts, cut within the length."""
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(frame[:1])
        self._socket.sendall(frame[1:])

    def _read(self, count):
        read = b""
        while len(read) < count:
            part = self._socket.recv(count - len(read))
            if not part:
                raise Failed("the switch ended the connection")
            read += part
        return read

    def raw_answer(self):
        return self._read(int.from_bytes(self._read(2), "big"))

    def answer(self):
        decoded, _ = iso8583.decode(self.raw_answer(), SPEC)
        return decoded

    def ask(self, message):
        self.send(frame_of(message))
        return self.answer()

    def expect_end(self):
        """Nothing more is said: exactly one answer to each."""
        self._socket.shutdown(socket.SHUT_WR)
        expect("what comes after the last answer", self._socket.recv(1), b"")
        self._socket.close()


def frame_of(message):
    encoded, _ = iso8583.encode(dict(message), SPEC)
    return len(encoded).to_bytes(2, "big") + bytes(encoded)


def network(code, stan):
    return {"t": "0800", "7": "0704093015", "11": f"{stan:06}", "70": code}


def purchase(stan, **more):
    """10.00 at a shop, a card each, a test number of a bank that the shipped table has."""
    message = {
        "t": "0200",
        "2": f"6226019{stan:09}",
        "3": "000000",
        "4": "000000001000",
        "7": "0704093015",
        "11": f"{stan:06}",
        "12": "093015",
        "13": "0704",
        "18": "5411",
        "22": "051",
        "25": "00",
        "32": "03330000",
        "37": f"0930{stan:08}",
        "41": "01080209",
        "42": "333290054110001",
        "49": "156",
    }
    message.update({name.removeprefix("de"): value for name, value in more.items()})
    return message


def reversal_of(original, stan, mti="0420"):
    named = f"{original['t']}{original['11']}{original['7']}{original['32']:0>11}{0:011}"
    message = {**original, "t": mti, "11": f"{stan:06}", "90": named}
    return message


def check_answer(what, request, answer, code):
    expect(f"{what}: DE 39", answer.get("39"), code)
    response = {"0200": "0210", "0201": "0210", "0420": "0430", "0421": "0430", "0800": "0810"}
    expect(f"{what}: type", answer["t"], response[request["t"]])
    # Of a malformed message only what stands before the fault can be told.
    echoed = ["11"] if code == "30" else ECHOED
    for number in echoed:
        if number in request:
            expect(f"{what}: DE {number}", answer.get(number), request[number])
    print(f"ok  {what}: {answer['t']} {code}")


def session(link):
    before = purchase(1)
    check_answer("before the sign-on", before, link.ask(before), "58")
    for what, code in [("sign-on", "001"), ("echo", "301")]:
        request = network(code, 2)
        answer = link.ask(request)
        check_answer(what, request, answer, "00")
        expect(f"{what}: DE 70", answer["70"], code)


def purchases(link):
    request = purchase(10)
    link.send(frame_of(request))
    first = link.raw_answer()
    answer, _ = iso8583.decode(first, SPEC)
    check_answer("purchase", request, answer, "00")
    expect("purchase: length of DE 38", len(answer["38"].strip()), 6)

    link.send(frame_of(request))
    expect("the same again: the answer's bytes", link.raw_answer(), first)
    repeated = {**request, "t": "0201"}
    check_answer("its repeat", repeated, link.ask(repeated), "00")
    other = {**request, "4": "000000001001"}
    check_answer("its key with another amount", other, link.ask(other), "94")

    balance = purchase(11, de2=request["2"], de3="300000")
    del balance["4"]
    answer = link.ask(balance)
    check_answer("balance inquiry", balance, answer, "00")
    expect("what is left", answer["54"][-12:], "000000019000")


def reversals(link):
    request = purchase(10)
    for mti in ["0420", "0421"]:
        reversal = reversal_of(request, 20, mti)
        check_answer(f"reversal {mti}", reversal, link.ask(reversal), "00")
    check_answer("the reversed purchase again", request, link.ask(request), "91")
    balance = purchase(21, de2=request["2"], de3="300000")
    del balance["4"]
    expect("what is left after it", link.ask(balance)["54"][-12:], "000000020000")

    dear = purchase(24)
    check_answer("another purchase", dear, link.ask(dear), "00")
    partial = {**reversal_of(dear, 25), "95": "000000000600" + "0" * 30}
    check_answer("its reversal but for 6.00 (DE 95)", partial, link.ask(partial), "00")
    balance = purchase(26, de2=dear["2"], de3="300000")
    del balance["4"]
    expect("what is left then", link.ask(balance)["54"][-12:], "000000019400")

    unknown = reversal_of(purchase(22), 23)
    check_answer("reversal of what never came", unknown, link.ask(unknown), "00")
    late = purchase(22)
    check_answer("what comes after its reversal", late, link.ask(late), "91")


def declines(link):
    rows = [
        ("more than the account holds", purchase(30, de4="000000020001"), "51"),
        ("more than any limit", purchase(31, de4="000005000001"), "61"),
        ("a card of no bank", purchase(32, de2="6251880000000016"), "92"),
        ("amount zero", purchase(33, de4="000000000000"), "13"),
        ("a card number that is too short", purchase(34, de2="62260190000"), "14"),
    ]
    for what, request, code in rows:
        check_answer(what, request, link.ask(request), code)


def malformed(link):
    good = [purchase(number) for number in (40, 42)]
    bad = purchase(41, de4="0000000010O0")
    link.send(frame_of(good[0]), frame_of(bad), frame_of(good[1]))
    answers = {answer["11"]: answer for answer in (link.answer() for _ in range(3))}
    for request, code in [(good[0], "00"), (bad, "30"), (good[1], "00")]:
        check_answer(f"of three in one write, {request['11']}", request, answers[request["11"]], code)
    expect("what is malformed", answers["000041"]["44"], "004")

    missing = purchase(43)
    del missing["3"]
    answer = link.ask(missing)
    check_answer("no processing code", missing, answer, "30")
    expect("what is missing", answer["44"], "003")

    unserved = {**purchase(44), "t": "0300"}
    answer = link.ask(unserved)
    expect("a type that is not served", (answer["t"], answer["39"]), ("0310", "12"))
    print("ok  a type that is not served: 0310 12")

    split = purchase(45)
    link.send_split(frame_of(split))
    check_answer("split within its length", split, link.answer(), "00")


def start(binary, folder):
    """The switch, and where it listens."""
    file = pathlib.Path(folder, "switch.toml")
    file.write_text(CONFIGURATION, encoding="ascii")
    command = [binary, "run", "--config", str(file), "--seconds", str(SWITCH_S)]
    switch = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    address = None
    for line in switch.stdout:
        if line.startswith("acquirers "):
            host, port = line.split()[1].rsplit(":", 1)
            address = (host, int(port))
        if line.startswith("durability "):
            return switch, address
    raise Failed("the switch did not start")


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: client.py BINARY")
    with tempfile.TemporaryDirectory() as folder:
        switch, address = start(sys.argv[1], folder)
        try:
            link = Connection(address)
            for part in [session, purchases, reversals, declines, malformed]:
                part(link)
            link.expect_end()
            switch.send_signal(signal.SIGTERM)
            output, _ = switch.communicate(timeout=PATIENCE_S)
            expect("the switch's exit code", switch.returncode, 0)
            last = output.splitlines()[-1]
            expect("its last line", last, "stopped     nothing left in flight, the banks' books balance")
        except (Failed, OSError, KeyError, iso8583.DecodeError, subprocess.TimeoutExpired) as error:
            sys.exit(f"FAILED  {error!r}")
        finally:
            switch.kill()
            switch.wait()
    print("ok  everything")


if __name__ == "__main__":
    main()
