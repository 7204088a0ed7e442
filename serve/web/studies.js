// The studies of this tab: what was sent, how far it is, what came back. Their jobs are kept by the
// service and remembered by the tab, so that loading the page again loses nothing.

import { capitalised } from "./report.js";
import { ask, askJson, follow, submit } from "./service.js";
import { readVolume } from "./nifti.js";

const REMEMBERED = "amir.studies";
const VOLUMES_KEPT = 3; // studies whose voxels stay in memory

export class Studies {
  /** onChange: called with the study that changed, or null when the list did. */
  constructor(onChange) {
    this.onChange = onChange;
    this.list = [];
    this.current = null;
  }

  /** Take up the jobs that the tab remembers. */
  resume() {
    for (const { name, jobId, kind } of JSON.parse(sessionStorage.getItem(REMEMBERED) ?? "[]")) {
      const study = this.add({ name, kind });
      study.jobId = jobId;
      this.run(study, () => this.watch(study));
    }
  }

  /** A new study, shown at once. kind: its modality, "" until the report says it. */
  add({ name, kind = "", source = null, query = {} }) {
    const study = { name, kind, source, query, state: "new", share: 0, text: "", volumes: {}, report: null, problem: null, jobId: "", view: null };
    this.list.unshift(study);
    this.current = study;
    this.onChange(null);
    return study;
  }

  /** Send a study and follow it until it is restored and can be looked at. */
  start(study) {
    return this.run(study, async () => {
      this.tell(study, { state: "sending", share: 0, text: study.source.preparing ?? "Sending", problem: null });
      const body = await study.source.body();
      const job = await submit(body, study.source.contentType, study.query, (share) => {
        this.tell(study, { share, text: share < 1 ? `Sending, ${Math.round(100 * share)} %` : "Received" });
      });
      study.jobId = job.id;
      this.remember();
      await this.watch(study);
    });
  }

  /** Try again what failed. */
  retry(study) {
    if (study.source) this.start(study);
    else this.run(study, () => this.watch(study));
  }

  async watch(study) {
    this.tell(study, { state: "waiting", share: 0, text: "Waiting for its turn", problem: null });
    const degraded = this.fetchVolume(study, "degraded").catch(() => null);
    const job = await follow(study.jobId, (each) => this.tell(study, progressOf(each)));
    if (job.state === "failed") throw job.error;
    study.report = await askJson(`v1/jobs/${study.jobId}/report`);
    study.kind = study.report.modality;
    this.remember();
    if (!(await degraded)) await this.fetchVolume(study, "degraded");
    await this.fetchVolume(study, "restored");
    if (study.report.uncertainty) await this.fetchVolume(study, "uncertainty");
    this.tell(study, { state: "done", share: 1, text: "Restored" });
  }

  /** Make a study the one that is looked at, its voxels in memory. */
  async choose(study) {
    this.current = study;
    this.onChange(null);
    if (study.state === "done" && !study.volumes.restored) await this.run(study, () => this.watch(study));
  }

  /** Delete a study here and at the service. */
  async forget(study) {
    if (study.jobId) await ask(`v1/jobs/${study.jobId}`, { method: "DELETE" }).catch((problem) => {
      if (problem.status !== 404) throw problem;
    });
    this.list.splice(this.list.indexOf(study), 1);
    if (this.current === study) this.current = this.list[0] ?? null;
    this.remember();
    this.onChange(null);
  }

  async fetchVolume(study, name) {
    if (study.volumes[name]) return study.volumes[name];
    const response = await ask(`v1/jobs/${study.jobId}/view/${name}.nii.gz`);
    study.volumes[name] = await readVolume(response);
    this.dropOldVolumes(study);
    this.onChange(study);
    return study.volumes[name];
  }

  dropOldVolumes(newest) {
    const others = this.list.filter((study) => study !== newest && study !== this.current && study.volumes.degraded);
    for (const study of others.slice(VOLUMES_KEPT - 1)) study.volumes = {};
  }

  async run(study, work) {
    try {
      await work();
    } catch (problem) {
      this.tell(study, { state: "failed", share: 0, text: capitalised(problem.title || "failed"), problem });
    }
  }

  tell(study, changes) {
    Object.assign(study, changes);
    this.onChange(study);
  }

  remember() {
    const kept = this.list.filter((study) => study.jobId).map(({ name, jobId, kind }) => ({ name, jobId, kind }));
    sessionStorage.setItem(REMEMBERED, JSON.stringify(kept.reverse()));
  }
}

function progressOf({ state, progress: { done, total } }) {
  if (state === "queued") return { state: "waiting", share: 0, text: "Waiting for its turn" };
  if (!total) return { state: "running", share: 0, text: "Reading the file" };
  if (state === "done") return { state: "running", share: 1, text: "Fetching the images" };
  return { state: "running", share: done / total, text: `Restoring, ${done} of ${total} slices` };
}
