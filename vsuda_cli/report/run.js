"use strict";
const slider = document.getElementById("sample");
if (slider) {
  slider.addEventListener("input", () => {
    document.querySelectorAll(".samples img").forEach((image, index) => {
      image.hidden = index !== Number(slider.value);
      if (!image.hidden) document.getElementById("epoch").textContent = image.dataset.epoch;
    });
  });
}
