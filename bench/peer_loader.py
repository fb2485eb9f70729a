"""Rate of a PyTorch DataLoader that does per image what users do: PIL decodes, torchvision resizes, jitters, mirrors and
normalises. usage: peer_loader.py CSV IMAGES [AUGMENT [LIMIT [WORKERS]]]"""
import csv, os, sys, time
import torch, torchvision
from PIL import Image
from torchvision import transforms as T

torch.set_num_threads(1)
names = [row[0] for row in list(csv.reader(open(sys.argv[1])))[1:]]
augment = sys.argv[3] if len(sys.argv) > 3 else "colour"
names = names[: int(sys.argv[4])] if len(sys.argv) > 4 else names
workers = int(sys.argv[5]) if len(sys.argv) > 5 else 0
steps = {"none": [], "colour": [T.ColorJitter(.1, .1, .1, .1)], "rotation": [T.RandomRotation(5)]}[augment]
transform = T.Compose([T.Resize((224, 224))] + steps + [T.RandomHorizontalFlip(), T.ToTensor(), T.Normalize([.47, .447, .408], [.233, .228, .231])])


class Images(torch.utils.data.Dataset):
    def __len__(self):
        return len(names)

    def __getitem__(self, i):
        return transform(Image.open(os.path.join(sys.argv[2], names[i])).convert("RGB"))


loader = torch.utils.data.DataLoader(Images(), batch_size=64, shuffle=True, num_workers=workers)
start, n = time.time(), 0
for batch in loader:
    n += len(batch)
seconds = time.time() - start
print(f"torch {torch.__version__} DataLoader, {augment}, {workers} workers: {n} images, {1e3 * seconds / n:.3f} ms an image, {n / seconds:.0f} images/s")
