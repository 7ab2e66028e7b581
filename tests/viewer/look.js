// What the tests ask of the page: OHIF keeps cornerstone, cornerstoneTools and services as globals.
window.look = {
  viewport: () => cornerstone.getRenderingEngines()[0].getViewports()[0],

  drawn: () => /^rendered$/i.test(look.viewport().viewportStatus),

  image: () => look.viewport().getCurrentImageId(),

  segmentations: () => cornerstoneTools.segmentation.state.getSegmentations(),

  laidOn: () => cornerstoneTools.segmentation.state.getSegmentationRepresentations(look.viewport().id).length > 0,

  // names, colours and voxels (base64, a byte each) of the segmentation, and the image that each part lies on
  segmentation() {
    const { segmentationId, label, segments, representationData } = look.segmentations()[0];
    const labelmap = representationData.Labelmap;
    const color = cornerstoneTools.segmentation.config.color;
    return {
      label,
      segments: Object.entries(segments).map(([number, segment]) => [
        Number(number),
        segment.label,
        [...color.getSegmentIndexColor(look.viewport().id, segmentationId, Number(number))].slice(0, 3),
      ]),
      images: labelmap.imageIds.map((id, k) => {
        const image = cornerstone.cache.getImage(id);
        let bytes = '';
        for (const value of image.voxelManager.getScalarData()) bytes += String.fromCharCode(value);
        const on = image.referencedImageId || labelmap.referencedImageIds[k];
        return [on, image.rows, image.columns, btoa(bytes)];
      }),
    };
  },

  // show a slice, wait until its colours are drawn (on a busy machine they come some frames after the image, without an
  // event) or three seconds have passed, and count the coloured pixels on the screen: the images are grey
  async painted(slice) {
    await look.viewport().setImageIdIndex(slice);
    for (let turn = 0; turn < 30; turn++) {
      look.viewport().render();
      await new Promise(requestAnimationFrame);
      const pixels = look.colored();
      if (turn > 1 && pixels) return [look.image(), pixels];
      await new Promise(resolve => setTimeout(resolve, 100));
    }
    return [look.image(), look.colored()];
  },

  colored() {
    const canvas = look.viewport().getCanvas();
    const copy = document.createElement('canvas');
    [copy.width, copy.height] = [canvas.width, canvas.height];
    copy.getContext('2d').drawImage(canvas, 0, 0);
    const data = copy.getContext('2d').getImageData(0, 0, copy.width, copy.height).data;
    let pixels = 0;
    for (let at = 0; at < data.length; at += 4) {
      const [red, green, blue] = data.slice(at, at + 3);
      if (Math.max(red, green, blue) - Math.min(red, green, blue) > 30) pixels++;
    }
    return pixels;
  },

  outlines: () =>
    cornerstoneTools.annotation.state.getAllAnnotations().filter(one => one.metadata.toolName === 'DICOMSRDisplay'),

  measurements: () =>
    look.outlines().map(({ metadata, data }) => [
      metadata.referencedImageId,
      data.labels.map(({ label, value }) => [label, value]),
    ]),

  // every outline of the image that has something to say says it
  written: () =>
    look.texts().length >=
    look.outlines().filter(({ metadata, data }) => metadata.referencedImageId === look.image() && data.labels.length).length,

  texts: () => [...look.viewport().element.querySelectorAll('svg text')].map(element => element.textContent),

  row: description =>
    [...document.querySelectorAll('[data-cy="study-browser-thumbnail-no-image"]')].find(element =>
      element.innerText.includes(description)
    ),

  button: name => document.querySelector(`[data-cy="${name}"]`),
};
