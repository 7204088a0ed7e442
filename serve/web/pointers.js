// Mouse, pen and touch on the images. Every act has a key or a control of its own too.

const WIPE_REACH = 24; // pixels from the wipe's line at which it is grasped

/** Listens on the element that holds the panels. */
export function listenToPointers(place, viewer) {
  const touches = new Map();
  let grasp = null;

  place.addEventListener("pointerdown", (event) => {
    const canvas = event.target.closest("canvas");
    if (!canvas) return;
    touches.set(event.pointerId, event);
    capture(canvas, event.pointerId);
    if (touches.size === 1) grasp = graspOf(viewer, canvas, event);
    else grasp = "pinch";
  });

  place.addEventListener("pointermove", (event) => {
    const canvas = event.target.closest("canvas");
    if (!canvas || !viewer.volumes.degraded) return;
    const before = touches.get(event.pointerId);
    if (!before) {
      if (event.pointerType === "mouse") probe(viewer, canvas, event);
      return;
    }
    if (grasp === "pinch") pinch(viewer, canvas, touches, event);
    else drag(viewer, canvas, grasp, event.clientX - before.clientX, event.clientY - before.clientY);
    touches.set(event.pointerId, event);
  });

  for (const end of ["pointerup", "pointercancel"]) {
    place.addEventListener(end, (event) => {
      const canvas = event.target.closest("canvas");
      if (canvas && event.pointerType !== "mouse" && grasp === "pan") probe(viewer, canvas, event);
      touches.delete(event.pointerId);
      grasp = null;
    });
  }

  place.addEventListener("wheel", (event) => {
    const canvas = event.target.closest("canvas");
    if (!canvas) return;
    event.preventDefault();
    const { x, y } = placeIn(canvas, event);
    if (event.ctrlKey) viewer.zoomAt(canvas, x, y, Math.exp(-event.deltaY * (event.deltaMode ? 0.08 : 0.004)));
    else viewer.set({ index: viewer.state.index + Math.sign(event.deltaY) });
  }, { passive: false });

  place.addEventListener("dblclick", () => viewer.set({ zoom: 1, centre: [0.5, 0.5] }));
  place.addEventListener("contextmenu", (event) => event.preventDefault());
}

function graspOf(viewer, canvas, event) {
  if (event.shiftKey || event.button === 2) return "window";
  if (viewer.state.mode !== "wipe") return "pan";
  const frame = viewer.frameIn(canvas.clientWidth, canvas.clientHeight);
  const line = frame.left + frame.width * viewer.state.wipe;
  return Math.abs(placeIn(canvas, event).x - line) < WIPE_REACH ? "wipe" : "pan";
}

function drag(viewer, canvas, grasp, x, y) {
  const { state } = viewer;
  if (grasp === "pan") viewer.panBy(canvas, x, y);
  if (grasp === "wipe") viewer.set({ wipe: state.wipe + x / viewer.frameIn(canvas.clientWidth, canvas.clientHeight).width });
  if (grasp === "window") {
    const step = state.width / 250;
    viewer.set({ width: state.width + x * step, level: state.level - y * step });
  }
}

function pinch(viewer, canvas, touches, event) {
  const other = [...touches.values()].find((each) => each.pointerId !== event.pointerId);
  const before = touches.get(event.pointerId);
  if (!other) return;
  const apart = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
  const { x, y } = placeIn(canvas, { clientX: (event.clientX + other.clientX) / 2, clientY: (event.clientY + other.clientY) / 2 });
  viewer.zoomAt(canvas, x, y, apart(event) / Math.max(1, apart(before)));
}

function probe(viewer, canvas, event) {
  const { x, y } = placeIn(canvas, event);
  viewer.set({ probe: viewer.voxelUnder(canvas, x, y) });
}

function placeIn(canvas, event) {
  const box = canvas.getBoundingClientRect();
  return { x: event.clientX - box.left, y: event.clientY - box.top };
}

// A pointer that a test made up, or one that has just gone, cannot be captured.
function capture(canvas, pointerId) {
  try {
    canvas.setPointerCapture(pointerId);
  } catch (error) {
    if (error.name !== "NotFoundError") throw error;
  }
}
