// Where pictures come from: dropped, pasted, chosen, or taken by a camera.

import { $ } from './dom.js';

/**
 * @param {(files: File[]) => void} onFiles
 * @param {(problem: string) => void} onProblem
 */
export function wireIntake(onFiles, onProblem) {
  const files = $('files', HTMLInputElement);
  const camera = $('camera-file', HTMLInputElement);
  $('choose').onclick = () => { files.click(); };
  for (const input of [files, camera]) {
    input.addEventListener('change', () => {
      onFiles([...(input.files ?? [])]);
      input.value = ''; // the same one may be chosen again
    });
  }
  wireDrop(onFiles);
  document.addEventListener('paste', ({ clipboardData }) => {
    const pasted = [...(clipboardData?.files ?? [])];
    if (pasted.length) onFiles(pasted);
    else if (clipboardData?.types.length) onProblem('What was pasted is no picture.');
  });
  wireCamera(onFiles, onProblem, () => { camera.click(); });
}

/** @param {(files: File[]) => void} onFiles */
function wireDrop(onFiles) {
  const { body } = document;
  body.addEventListener('dragover', (event) => {
    event.preventDefault();
    body.toggleAttribute('data-over', true);
  });
  body.addEventListener('dragleave', ({ relatedTarget }) => {
    if (!relatedTarget) body.removeAttribute('data-over');
  });
  body.addEventListener('drop', (event) => {
    event.preventDefault();
    body.removeAttribute('data-over');
    onFiles([...(event.dataTransfer?.files ?? [])]);
  });
}

/**
 * A phone has its own camera application; elsewhere, and where the browser allows it, a viewfinder opens in the page.
 * @param {(files: File[]) => void} onFiles
 * @param {(problem: string) => void} onProblem
 * @param {() => void} askSystem
 */
function wireCamera(onFiles, onProblem, askSystem) {
  const dialog = $('camera', HTMLDialogElement);
  const viewfinder = $('viewfinder', HTMLVideoElement);
  const stop = () => {
    if (viewfinder.srcObject instanceof MediaStream) for (const track of viewfinder.srcObject.getTracks()) track.stop();
    viewfinder.srcObject = null;
  };
  $('take').onclick = () => {
    if (matchMedia('(pointer: coarse)').matches || !('mediaDevices' in navigator)) askSystem();
    else void open();
  };
  $('camera-close').onclick = () => { dialog.close(); };
  dialog.addEventListener('close', stop);
  $('shoot').onclick = () => void shoot();

  async function open() {
    try {
      const video = { facingMode: 'environment', width: { ideal: 1920 }, height: { ideal: 1080 } };
      viewfinder.srcObject = await navigator.mediaDevices.getUserMedia({ video, audio: false });
    } catch (thrown) {
      const denied = thrown instanceof DOMException && thrown.name === 'NotAllowedError';
      onProblem(denied ? 'The browser was not allowed to use the camera.' : 'There is no camera that this browser can use.');
      return;
    }
    dialog.showModal();
    await viewfinder.play();
  }

  async function shoot() {
    if (!viewfinder.videoWidth) return;
    const canvas = new OffscreenCanvas(viewfinder.videoWidth, viewfinder.videoHeight);
    canvas.getContext('2d')?.drawImage(viewfinder, 0, 0);
    const blob = await canvas.convertToBlob({ type: 'image/jpeg', quality: 0.95 });
    const time = new Date().toTimeString().slice(0, 8).replaceAll(':', '');
    dialog.close();
    onFiles([new File([blob], `camera-${time}.jpg`, { type: 'image/jpeg' })]);
  }
}
