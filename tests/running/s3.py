"""An S3 server for tests."""

from __future__ import annotations

import logging
import urllib.request

import boto3
from moto.server import ThreadedMotoServer

KEYS = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_MAX_ATTEMPTS": "1",  # a server that is down is down
}


class S3:
    """An S3 server on this machine with one bucket; it keeps its objects while it is stopped."""

    def __init__(self) -> None:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self.port = 0
        self.start()
        urllib.request.urlopen(urllib.request.Request(f"{self.url}/bucket", method="PUT"))

    def start(self) -> None:
        self.server = ThreadedMotoServer(ip_address="127.0.0.1", port=self.port, verbose=False)
        self.server.start()
        _, self.port = self.server.get_host_and_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        self.server.stop()

    def objects(self, prefix: str) -> dict[str, bytes]:
        client = boto3.client("s3", endpoint_url=self.url)
        keys = [entry["Key"] for entry in client.list_objects_v2(Bucket="bucket", Prefix=prefix).get("Contents", [])]
        return {key: client.get_object(Bucket="bucket", Key=key)["Body"].read() for key in keys}

    def put(self, key: str, content: bytes) -> None:
        boto3.client("s3", endpoint_url=self.url).put_object(Bucket="bucket", Key=key, Body=content)
