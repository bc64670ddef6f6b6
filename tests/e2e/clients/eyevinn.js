// Eyevinn's player, used as its README shows: it asks for sound too, and waits for all candidates.
import { WebRTCPlayer } from "@eyevinn/webrtc-player";

let player;

window.play = async (video, url, token) => {
  player = new WebRTCPlayer({ video, type: "whep", iceServers: [] });
  await player.load(new URL(url), token && `Bearer ${token}`);
};

window.stop = () => player.unload();
