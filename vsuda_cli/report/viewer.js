
const viewer = document.getElementById("viewer");
const canvas = document.getElementById("viewer-canvas");
// Colours of the outlines on the cards.
const LABELS = { reference: [86, 180, 233], prediction: [230, 159, 0] };
const OPACITY = 0.5;
// Voxels along right, anterior, superior for each key.
const STEPS = {
  ArrowLeft: [-1, 0, 0], ArrowRight: [1, 0, 0], ArrowDown: [0, -1, 0], ArrowUp: [0, 1, 0],
  PageDown: [0, 0, -1], PageUp: [0, 0, 1],
};
let loading = null;
let places = {};

async function startNiivue() {
  const packed = Uint8Array.from(atob(document.getElementById("niivue").textContent), (c) => c.charCodeAt(0));
  const plain = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const address = URL.createObjectURL(new Blob([await new Response(plain).text()], { type: "text/javascript" }));
  const module = await import(address);
  URL.revokeObjectURL(address);
  const niivue = new module.Niivue({
    backColor: [0.07, 0.07, 0.07, 1], multiplanarShowRender: module.SHOW_RENDER.ALWAYS,
    dragAndDropEnabled: false, isSliceMM: true, isRadiologicalConvention: true, loadingText: "",
    crosshairWidth: 0.3, crosshairWidthUnit: "mm", crosshairColor: [1, 1, 1, 1],
  });
  await niivue.attachToCanvas(canvas);
  for (const [name, [r, g, b]] of Object.entries(LABELS)) {
    niivue.addColormap(name, { R: [0, r], G: [0, g], B: [0, b], A: [0, 255], I: [0, 255] });
  }
  return { niivue, NVImage: module.NVImage };
}

async function openCase(card) {
  const state = document.getElementById("viewer-state");
  document.getElementById("viewer-case").textContent = card.querySelector("h3").textContent;
  viewer.dataset.ready = "";
  viewer.showModal();
  if (!document.createElement("canvas").getContext("webgl2")) {
    state.textContent = "The viewer needs WebGL 2, which this browser does not offer.";
    return;
  }
  state.textContent = "loading…";
  loading = loading || startNiivue();
  const { niivue, NVImage } = await loading;
  while (niivue.volumes.length) niivue.removeVolumeByIndex(0);
  const volumes = JSON.parse(card.querySelector(".volumes").textContent);
  niivue.addVolume(await NVImage.loadFromBase64({ base64: volumes.scan, name: "scan.nii.gz" }));
  places = {};
  for (const name of Object.keys(LABELS)) {
    if (!volumes[name]) continue;
    const image = await NVImage.loadFromBase64({ base64: volumes[name], name: name + ".nii.gz" });
    Object.assign(image, { cal_min: 0, cal_max: 1, colormap: name });
    places[name] = niivue.volumes.length;
    niivue.addVolume(image);
  }
  niivue.updateGLVolume();
  niivue.scene.crosshairPos = niivue.mm2frac(volumes.centre_mm);
  showLabels();
  state.textContent = "Arrow keys, page up and page down move; the wheel goes through slices, dragging turns the 3D view.";
  viewer.dataset.ready = "yes";
  canvas.focus();
}

async function showLabels() {
  const { niivue } = await loading;
  for (const box of viewer.querySelectorAll("input")) {
    if (box.value in places) niivue.setOpacity(places[box.value], box.checked ? OPACITY : 0);
  }
}

document.getElementById("cards").addEventListener("click", (event) => {
  if (event.target.matches(".open-viewer")) openCase(event.target.closest(".card"));
});
document.getElementById("viewer-close").addEventListener("click", () => viewer.close());
for (const button of viewer.querySelectorAll("[data-view]")) {
  button.addEventListener("click", async () => (await loading).niivue.setSliceType(Number(button.dataset.view)));
}
for (const box of viewer.querySelectorAll("input")) box.addEventListener("change", showLabels);
canvas.addEventListener("keydown", async (event) => {
  const step = STEPS[event.key];
  if (!step || !loading) return;
  event.preventDefault();
  (await loading).niivue.moveCrosshairInVox(...step);
});
