"""A client of the restoration service, in the standard library alone.

```
Client("https://amir.example", token).restore("scan.nii.gz").save("restored.nii.gz")
job = Client("https://amir.example", token).submit("series.zip")      # long work
job.wait(lambda done, total: print(done, total))
job.save("restored.zip")
```

The same from a shell: python -m amir.client --help.
"""

from amir.client.job import Job, JobStatus
from amir.client.media_types import content_type
from amir.client.sending import ServiceError
from amir.client.service import Answer, Client

__all__ = ["Answer", "Client", "Job", "JobStatus", "ServiceError", "content_type"]
