# Members of consumer groups by librdkafka, as many as it is told of. In: bootstrap servers, and a folder. It does what tests/java/GroupMembers.java
# does, file by file and line by line.

import os
import sys
import threading
import time

from confluent_kafka import Consumer


def run(bootstrap, path):
    notes = open(path.replace(".member", ".notes"), "a")

    def note(text):
        notes.write(text)
        notes.flush()

    def told(what):
        return lambda _, partitions: note(what + "".join(f" {it.partition}" for it in partitions) + "\n")

    try:
        with open(path) as lines:
            settings = dict(line.strip().split("=", 1) for line in lines if "=" in line)
        topic = settings.pop("topic")
        settings["bootstrap.servers"] = bootstrap
        consumer = Consumer(settings)
        consumer.subscribe([topic], on_assign=told("assigned"), on_revoke=told("revoked"), on_lost=told("lost"))
        while not os.path.exists(path.replace(".member", ".stop")):
            read = ""
            for message in consumer.consume(100, 0.1):
                if message.error():
                    note(f"error {message.error()}\n")
                    continue
                value = int.from_bytes(message.value(), "big")
                read += f"read {message.partition()} {message.offset()} {value}\n"
            note(read)
        consumer.close()
        note("closed\n")
    except BaseException as failure:
        note(f"failed {failure}\n")


def main():
    bootstrap, folder = sys.argv[1:3]
    known = set()
    while True:
        for name in os.listdir(folder):
            if name.endswith(".member") and name not in known:
                known.add(name)
                threading.Thread(target=run, args=(bootstrap, os.path.join(folder, name)), daemon=True).start()
        time.sleep(0.05)


main()
